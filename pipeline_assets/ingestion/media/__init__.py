"""What is in an upload's bytes: photos, sound and video, looked at without trusting them."""
