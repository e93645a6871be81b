"""The kit: cases -> evaluate -> compare -> report."""
