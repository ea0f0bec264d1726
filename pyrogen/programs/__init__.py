"""One run of a pair, and what it shows: the sites that were visited, their plates, whether particles run together."""
