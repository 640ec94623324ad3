"""Benchmarks of replays, on DynamoDB Local.

``table``    tables and items, made for the measurement
``client``   ours and the loop that a user would write, each in a process of its own (`python -m benchmarks.replay.client`)
``touches``  touches a second, CPU a touch, without and with a network between
``pacing``   units consumed in any 10 s; how true the time is that is told to be left
``sizes``    time and memory of 10 k, 100 k and 300 k items
``report``   tables and a picture in docs/

DynamoDB Local is on this machine and shares its cores, so the figures compare two clients; they are no figures of AWS.
"""
