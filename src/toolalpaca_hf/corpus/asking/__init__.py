"""A question in, an answer out: models behind servers or on this machine, the cache of answers, and the budget."""
