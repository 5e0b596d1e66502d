package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func produce(asked request) (any, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(asked.Broker),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[asked.Codec]),
		kgo.ProducerLinger(50*time.Millisecond),
		kgo.UnknownTopicRetries(3),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, given := range asked.Records {
		made := &kgo.Record{Topic: asked.Topic, Partition: given.Partition, Key: given.Key, Value: given.Value}
		if given.Timestamp != nil {
			made.Timestamp = time.UnixMilli(*given.Timestamp)
		}
		for _, header := range given.Headers {
			made.Headers = append(made.Headers, kgo.RecordHeader{Key: header[0].(string), Value: bytesOf(header[1])})
		}
		records = append(records, made)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	results := client.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		return nil, err
	}
	// In the order they were given, not in that of the answers.
	var places []int64
	for _, made := range records {
		places = append(places, made.Offset)
	}
	return places, nil
}

// Bytes as JSON has them: a text in Base64, or null.
func bytesOf(said any) []byte {
	text, given := said.(string)
	if !given {
		return nil
	}
	content, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return content
}

func said(got *kgo.Record) record {
	stamp := got.Timestamp.UnixMilli()
	headers := [][2]any{}
	for _, header := range got.Headers {
		headers = append(headers, [2]any{header.Key, header.Value})
	}
	return record{got.Partition, got.Offset, got.Key, got.Value, headers, &stamp}
}

func consume(asked request) (any, error) {
	type marks struct{ start, end kadm.ListedOffsets }
	found, err := administer(asked, func(ctx context.Context, client *kadm.Client) (marks, error) {
		start, err := client.ListStartOffsets(ctx, asked.Topic)
		if err != nil {
			return marks{}, err
		}
		end, err := client.ListEndOffsets(ctx, asked.Topic)
		return marks{start, end}, err
	})
	if err != nil {
		return nil, err
	}
	due, places := int64(0), map[int32]kgo.Offset{}
	for partition := range asked.Partitions {
		start, _ := found.(marks).start.Lookup(asked.Topic, partition)
		end, _ := found.(marks).end.Lookup(asked.Topic, partition)
		due += end.Offset - start.Offset
		places[partition] = kgo.NewOffset().At(start.Offset)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(asked.Broker),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{asked.Topic: places}),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return take(client, int(due))
}

// So many records, as many as are due or fewer at a time.
func take(client *kgo.Client, due int) ([]record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	records := []record{}
	for len(records) < due {
		fetches := client.PollRecords(ctx, due-len(records))
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("%d of %d records came: %w", len(records), due, err)
		}
		for _, failed := range fetches.Errors() {
			return nil, failed.Err
		}
		fetches.EachRecord(func(got *kgo.Record) { records = append(records, said(got)) })
	}
	return records, nil
}
