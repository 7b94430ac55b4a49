"""Tools of the benchmarks: a question beside this folder imports them, and none of them imports a question."""
