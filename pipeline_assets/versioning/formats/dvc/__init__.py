"""Repositories of DVC: files, remotes, import and export."""
