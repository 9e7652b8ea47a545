"""The command line: `kernpot demo | fit | evaluate | md | learn | report | properties | info`."""
