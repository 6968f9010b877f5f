"""The MCP server of `unitask mcp`: tools with which an assistant runs tasks. docs/mcp.md describes them."""
