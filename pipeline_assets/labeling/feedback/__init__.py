"""Feedback of users as labels: what they report, hide and correct."""
