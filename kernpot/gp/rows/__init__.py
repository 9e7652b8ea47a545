"""From labels to triangles: whitened rows, compressed to one factor per noise group."""
