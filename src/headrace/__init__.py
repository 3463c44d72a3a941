"""Runs many slow, limited, failing calls as fast as their limits allow, and loses none."""
