"""Download the images of tables of addresses (id,url,landmark_id) into a dataset folder.

tables -> rows to fetch -> fair queue of hosts -> fetch -> store, or record the failure. Made for
millions of rows: tables stay Arrow, Python objects exist only for what is in flight.
"""
