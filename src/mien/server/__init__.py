"""HTTP and WebSocket server (extra `serve`); `mien.server.app.create_app` builds the ASGI application."""
