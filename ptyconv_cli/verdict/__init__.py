"""The answer: has the run converged, and since when?"""
