from .environment import OpenApiEnvironment as OpenApiEnvironment
from .environment import reward_parts as reward_parts
from .mcp_server import mcp_server as mcp_server
from .mcp_server import serve_mcp as serve_mcp
from .sources import calls_in_process as calls_in_process
from .sources import environment_dataset as environment_dataset
from .sources import openapi_environments as openapi_environments
from .trainer import EnvironmentGRPOTrainer as EnvironmentGRPOTrainer
