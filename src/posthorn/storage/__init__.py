"""The stores behind the engine's ports. Only `server.assembly` imports them."""
