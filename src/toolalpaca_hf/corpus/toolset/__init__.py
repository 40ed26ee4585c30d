"""An entry of a list of APIs becomes an API with functions, an OpenAPI document and descriptions."""
