"""What the protocol of an evaluation moves: docs/protocol.md."""
