import json

from kafka import KafkaProducer

producer = KafkaProducer(
    bootstrap_servers='localhost:9092',
    value_serializer=lambda v: json.dumps(v).encode('utf-8'),
)

for i in range(10):
    future = producer.send('my-topic', {'number': i})
    metadata = future.get(timeout=10)
    print(metadata.topic, metadata.partition, metadata.offset, flush=True)

producer.flush()
producer.close()
