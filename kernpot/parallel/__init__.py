"""Who computes where: threads of this process, processes of this machine or of a cluster. Knows no atoms."""
