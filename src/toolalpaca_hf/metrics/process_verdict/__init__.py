"""A verdict without a judge: whether the calls of a trajectory solve its instruction as the golden calls do."""
