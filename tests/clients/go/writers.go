package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// Between two records to the same partition.
	pause = 10 * time.Millisecond
	// Longer than any outage: a record that is given up is a failure.
	deliveryPatience = 120 * time.Second
	// Less than the agent is waited for.
	finishPatience = 50 * time.Second
)

// A producer that sends numbers until it is told to finish.
type writer struct {
	name   string
	topic  string
	client *kgo.Client
	stop   chan struct{}
	ended  chan struct{}

	lock sync.Mutex
	// How many were sent to each partition, and how many of them were acknowledged.
	sent     []int64
	answered []int64
	// Partition, number, offset and time of each record that was acknowledged.
	acknowledged [][4]int64
	failures     []string
}

var writers = map[string]*writer{}

// The brokers that were given, which may be several.
func seeds(asked request) kgo.Opt {
	return kgo.SeedBrokers(strings.Split(asked.Broker, ",")...)
}

func write(asked request) (any, error) {
	client, err := kgo.NewClient(
		seeds(asked),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.RecordDeliveryTimeout(deliveryPatience),
		// Soon enough to ask another one when a broker hangs.
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.RequestTimeoutOverhead(3*time.Second),
		// Each batch that was under way to a host that is gone waits for two connections to it, one after the other.
		kgo.DialTimeout(500*time.Millisecond),
		// It asks who leads at most this often, once it has been told that somebody else does.
		kgo.MetadataMinAge(250*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	w := &writer{
		name: asked.Writer, topic: asked.Topic, client: client, stop: make(chan struct{}), ended: make(chan struct{}),
		sent: make([]int64, asked.Partitions), answered: make([]int64, asked.Partitions),
		acknowledged: [][4]int64{}, failures: []string{},
	}
	writers[w.name] = w
	go w.run()
	return nil, nil
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		for partition := range w.sent {
			w.send(int32(partition))
		}
		select {
		case <-w.stop:
			return
		case <-time.After(pause):
		}
	}
}

func (w *writer) send(partition int32) {
	w.lock.Lock()
	number := w.sent[partition]
	w.sent[partition]++
	w.lock.Unlock()
	made := &kgo.Record{
		Topic: w.topic, Partition: partition,
		Key:   fmt.Appendf(nil, "%s-%d", w.name, partition),
		Value: fmt.Appendf(nil, "%s:%d:%d", w.name, partition, number),
	}
	w.client.Produce(context.Background(), made, func(done *kgo.Record, err error) {
		w.lock.Lock()
		defer w.lock.Unlock()
		if err != nil {
			w.failures = append(w.failures, err.Error())
			return
		}
		w.answered[partition]++
		at := [4]int64{int64(partition), number, done.Offset, time.Now().UnixMilli()}
		w.acknowledged = append(w.acknowledged, at)
	})
}

func written(asked request) (any, error) {
	w := writers[asked.Writer]
	w.lock.Lock()
	defer w.lock.Unlock()
	return append([]int64{}, w.answered...), nil
}

func finishWriting(asked request) (any, error) {
	w := writers[asked.Writer]
	delete(writers, asked.Writer)
	close(w.stop)
	<-w.ended
	ctx, cancel := context.WithTimeout(context.Background(), finishPatience)
	defer cancel()
	if err := w.client.Flush(ctx); err != nil {
		return nil, fmt.Errorf("%s does not finish: %w", w.name, err)
	}
	w.client.Close()
	return map[string]any{"sent": w.sent, "acknowledged": w.acknowledged, "failures": w.failures}, nil
}
