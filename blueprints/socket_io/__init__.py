"""Live events over Socket.IO: what clients and server send each other beside the events of version 2, which are sent as they
are."""
