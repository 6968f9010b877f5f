"""The MCP server of `unitask mcp`: tools with which an assistant runs tasks. docs/mcp.md describes them."""

from .server import main, make_server

__all__ = ["main", "make_server"]
