package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group that reads and commits until it leaves.
type membership struct {
	name    string
	topic   string
	holding atomic.Bool
	leave   context.CancelFunc
	left    chan struct{}
	lock    sync.Mutex
	owned   map[int32]bool
	// Where to go on from, as far as that is not committed.
	positions map[int32]int64
	// Since when nothing could be committed.
	failing time.Time
}

var members = map[string]*membership{}

func groupOptions(asked request) []kgo.Opt {
	return []kgo.Opt{
		seeds(asked),
		kgo.ConsumerGroup(asked.Group),
		kgo.ConsumeTopics(asked.Topic),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	}
}

func consumeGroup(asked request) (any, error) {
	client, err := kgo.NewClient(groupOptions(asked)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	records, err := take(client, asked.Count)
	if err != nil {
		return nil, err
	}
	return records, client.CommitUncommittedOffsets(context.Background())
}

func (m *membership) owns() {
	partitions := []int32{}
	for partition := range m.owned {
		partitions = append(partitions, partition)
	}
	sort.Slice(partitions, func(a, b int) bool { return partitions[a] < partitions[b] })
	say(map[string]any{"event": "owns", "member": m.name, "partitions": partitions})
}

func (m *membership) failed(err error) {
	say(map[string]any{"event": "failed", "member": m.name, "why": err.Error()})
}

// Commits what was said to be read.
func (m *membership) commit(client *kgo.Client) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if len(m.positions) == 0 || m.holding.Load() {
		return
	}
	if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
		// What cannot be committed now is committed with what is read next.
		if m.failing.IsZero() {
			m.failing = time.Now()
		}
		if time.Since(m.failing) > patience {
			m.failed(err)
		}
		return
	}
	m.failing = time.Time{}
	say(map[string]any{"event": "committed", "member": m.name, "offsets": m.positions})
	m.positions = map[int32]int64{}
}

func (m *membership) run(ctx context.Context, client *kgo.Client) {
	defer close(m.left)
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		fetches := client.PollFetches(short)
		cancel()
		for _, failed := range fetches.Errors() {
			var session *kgo.ErrGroupSession
			switch {
			case errors.Is(failed.Err, context.DeadlineExceeded), errors.Is(failed.Err, context.Canceled):
			case errors.As(failed.Err, &session):
				// It goes on trying.
				fmt.Fprintln(os.Stderr, failed.Err)
			default:
				m.failed(failed.Err)
			}
		}
		m.lock.Lock()
		fetches.EachRecord(func(got *kgo.Record) {
			m.positions[got.Partition] = got.Offset + 1
			say(map[string]any{
				"event": "read", "member": m.name,
				"partition": got.Partition, "offset": got.Offset, "value": string(got.Value),
			})
		})
		m.lock.Unlock()
		m.commit(client)
		client.AllowRebalance()
	}
	m.commit(client)
	client.CloseAllowingRebalance()
}

func join(asked request) (any, error) {
	m := &membership{
		name: asked.Member, topic: asked.Topic, left: make(chan struct{}),
		owned: map[int32]bool{}, positions: map[int32]int64{},
	}
	gained := func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
		m.lock.Lock()
		defer m.lock.Unlock()
		for _, partition := range assigned[m.topic] {
			m.owned[partition] = true
		}
		m.owns()
	}
	// Nothing to commit here: rebalances wait until a poll's records are committed, or cannot be.
	revoked := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
		m.lock.Lock()
		defer m.lock.Unlock()
		for _, partition := range gone[m.topic] {
			delete(m.owned, partition)
			delete(m.positions, partition)
		}
		m.owns()
	}
	lost := func(ctx context.Context, client *kgo.Client, gone map[string][]int32) {
		say(map[string]any{"event": "lost", "member": m.name, "partitions": gone[m.topic]})
		revoked(ctx, client, gone)
	}
	client, err := kgo.NewClient(append(groupOptions(asked),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(gained), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(lost),
	)...)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, m.leave = context.WithCancel(context.Background())
	members[asked.Member] = m
	go m.run(ctx, client)
	return nil, nil
}

func hold(asked request) (any, error) {
	members[asked.Member].holding.Store(true)
	return nil, nil
}

func leave(asked request) (any, error) {
	m := members[asked.Member]
	delete(members, asked.Member)
	m.leave()
	select {
	case <-m.left:
		return nil, nil
	case <-time.After(patience):
		return nil, errors.New(m.name + " does not leave")
	}
}
