"""The tables of every kind of result, each built once, for pages and for the terminal."""
