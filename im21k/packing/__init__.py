"""Photos -> shuffled ArrayRecord shards, a manifest and a report.

pack -> config          the command and its options
driver                  the steps of both shuffles, and what a resumed run skips
  selection             which photos get which label, who is held out, duplicates
  photo_index           keys and labels of all photos
  shard_plan            the permutation, cut in shards
  repair                keep, re-encode or reject a photo, by its content
  external_shuffle      photos -> sorted runs -> the records of a shard
  shard_writer          records -> a shard
  scratch               the scratch folder, and the side files in it
  stages, progress      runs the tasks of a pass; the progress bar
workers               processes of this machine
beam, task_file       engines of Beam; tasks that any worker of them can run
  outcomes, final_files  reports, and the manifest last
estimate                memory, disk space and hours, measured before packing
verify                  reads a packed data set back
"""
