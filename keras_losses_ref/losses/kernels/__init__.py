"""The fast form of a loss: value and gradient in closed form, and when to use it."""
