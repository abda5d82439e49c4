"""The scripts that keep the house: run as CI and an operator run them."""
