"""A thousand photos classified from S3 as a whole process, by Darkroom and by what people would use instead.

`python -m benchmarks.rivals`. Each `with_NAME.py` is one contestant's program; `NAME.txt` pins a rival's environment.
"""
