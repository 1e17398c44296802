"""Braze's user data endpoints, so that what sends to `/users/track` sends here when its host is changed."""
