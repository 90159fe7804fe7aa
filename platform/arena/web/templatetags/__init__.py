"""Template tags: drawings and figures as templates call them."""
