"""External attention as a token mixer of vitprof."""
