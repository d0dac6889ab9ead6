"""Usage: outage.py ENDPOINT BUCKET make | compare FOLDER. Makes the bucket; or compares it with what journals on the disk name: each
segment they say was kept must be in both, with the same bytes, but for those of the last seconds, which may be on their way."""

import json
import pathlib
import sys
import time

import boto3

IN_TRANSIT_S = 10

endpoint, bucket, what = sys.argv[1:4]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="of-no-use")
if what == "make":
    s3.create_bucket(Bucket=bucket)
    sys.exit()

root, wrong, same, lost, shows = pathlib.Path(sys.argv[4]), [], 0, 0, 0
for journal in root.glob("*/index.jsonl"):
    shows += 1
    for line in journal.read_text().splitlines():
        entry = json.loads(line)
        if entry["entry"] != "segment":
            continue
        if not entry["kept"]:
            lost += 1
            continue
        if time.time() - entry["at_micros"] / 1e6 - entry["duration_nanos"] / 1e9 < IN_TRANSIT_S:
            continue
        name = f"{entry['rendition']}/{entry['epoch']}/{entry['number']}.m4s"
        file = journal.parent / name
        try:
            body = s3.get_object(Bucket=bucket, Key=f"{journal.parent.name}/{name}")["Body"].read()
        except s3.exceptions.NoSuchKey:
            wrong.append(f"{file} is not in the bucket")
            continue
        if body != file.read_bytes():
            wrong.append(f"{file} is another in the bucket")
        same += 1
print(f"{shows} shows: {same} segments in the bucket as on the disk, {lost} lost, {len(wrong)} wrong")
if wrong or lost or same == 0:
    sys.exit("\n".join(wrong[:10]) or "that is not all")
