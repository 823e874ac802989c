"""The commands of the group `darkroom explore`, a file each."""
