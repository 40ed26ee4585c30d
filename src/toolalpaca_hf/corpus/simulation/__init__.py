"""Instructions played through by user, assistant and executor, and the gates their instances have to pass."""
