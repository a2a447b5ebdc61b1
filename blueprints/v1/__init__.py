"""v1: the contract of the existing clients (v1-contract.md). Its shapes never change."""
