"""The corpus room: from a list of public APIs to a dataset, made by models that play author, user, assistant and API."""
