import json

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    bootstrap_servers='localhost:9092',
    auto_offset_reset='earliest',
    group_id='my-group',
    value_deserializer=lambda m: json.loads(m.decode('utf-8')),
)
consumer.subscribe(['my-topic'])

for message in consumer:
    print(message.topic, message.partition, message.offset, message.value['number'], flush=True)
