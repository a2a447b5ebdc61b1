"""Tests of messages about signals and states."""
