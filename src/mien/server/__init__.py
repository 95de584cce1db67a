"""The HTTP and WebSocket server (extra `serve`): `mien.server.app.create_app`, and `mien serve` in front of it."""
