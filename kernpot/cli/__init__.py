"""The command line: `kernpot demo | fit | evaluate | info | md`."""
