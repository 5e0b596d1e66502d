package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 30 * time.Second

// Carries out one request with a client of its own.
func administer[T any](asked request, ask func(context.Context, *kadm.Client) (T, error)) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(asked.Broker))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return ask(ctx, kadm.NewClient(client))
}

// As administer, for what returns nothing.
func tell(asked request, ask func(context.Context, *kadm.Client) error) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) (any, error) {
		return nil, ask(ctx, client)
	})
}

func createTopic(asked request) (any, error) {
	return tell(asked, func(ctx context.Context, client *kadm.Client) error {
		config := map[string]*string{}
		for name, value := range asked.Config {
			config[name] = kadm.StringPtr(value)
		}
		_, err := client.CreateTopic(ctx, asked.Partitions, 1, config, asked.Topic)
		return err
	})
}

func deleteTopic(asked request) (any, error) {
	return tell(asked, func(ctx context.Context, client *kadm.Client) error {
		_, err := client.DeleteTopic(ctx, asked.Topic)
		return err
	})
}

func topics(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) (map[string]int, error) {
		found, err := client.ListTopics(ctx)
		counts := map[string]int{}
		for name, topic := range found {
			counts[name] = len(topic.Partitions)
		}
		return counts, err
	})
}

func addPartitions(asked request) (any, error) {
	return tell(asked, func(ctx context.Context, client *kadm.Client) error {
		answers, err := client.UpdatePartitions(ctx, asked.Count, asked.Topic)
		if err != nil {
			return err
		}
		return answers.Error()
	})
}

func describeConfig(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) (map[string]*string, error) {
		found, err := client.DescribeTopicConfigs(ctx, asked.Topic)
		if err != nil {
			return nil, err
		}
		config, err := found.On(asked.Topic, nil)
		values := map[string]*string{}
		for _, entry := range config.Configs {
			values[entry.Key] = entry.Value
		}
		if err == nil {
			err = config.Err
		}
		return values, err
	})
}

func alterConfig(asked request) (any, error) {
	return tell(asked, func(ctx context.Context, client *kadm.Client) error {
		var changes []kadm.AlterConfig
		for name, value := range asked.Values {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
		}
		for _, name := range asked.Delete {
			changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
		}
		answers, err := client.AlterTopicConfigs(ctx, changes, asked.Topic)
		for _, answer := range answers {
			if err == nil {
				err = answer.Err
			}
		}
		return err
	})
}

func deleteRecords(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) (int64, error) {
		var before kadm.Offsets
		before.AddOffset(asked.Topic, asked.Partition, asked.Before, -1)
		answers, err := client.DeleteRecords(ctx, before)
		if err != nil {
			return 0, err
		}
		answer, found := answers.Lookup(asked.Topic, asked.Partition)
		if !found {
			return 0, fmt.Errorf("no answer about %s %d", asked.Topic, asked.Partition)
		}
		return answer.LowWatermark, answer.Err
	})
}

func offsets(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) ([]int64, error) {
		var found []int64
		for _, list := range []func(context.Context, ...string) (kadm.ListedOffsets, error){
			client.ListStartOffsets, client.ListEndOffsets,
		} {
			listed, err := list(ctx, asked.Topic)
			if err != nil {
				return nil, err
			}
			offset, _ := listed.Lookup(asked.Topic, asked.Partition)
			if offset.Err != nil {
				return nil, offset.Err
			}
			found = append(found, offset.Offset)
		}
		return found, nil
	})
}

func committed(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) ([]*int64, error) {
		answers, err := client.FetchOffsets(ctx, asked.Group)
		if err != nil {
			return nil, err
		}
		places := make([]*int64, asked.Partitions)
		for partition := range places {
			answer, found := answers.Lookup(asked.Topic, int32(partition))
			if answer.Err != nil {
				return nil, answer.Err
			}
			if found && answer.At >= 0 {
				places[partition] = &answer.At
			}
		}
		return places, nil
	})
}

func groups(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) (map[string]string, error) {
		found, err := client.ListGroups(ctx)
		states := map[string]string{}
		for name, group := range found {
			states[name] = strings.ToLower(group.State)
		}
		return states, err
	})
}

func describeGroup(asked request) (any, error) {
	return administer(asked, func(ctx context.Context, client *kadm.Client) (map[string]any, error) {
		found, err := client.DescribeGroups(ctx, asked.Group)
		if err != nil {
			return nil, err
		}
		group := found[asked.Group]
		members := [][]int32{}
		for _, member := range group.Members {
			partitions := []int32{}
			if assigned, known := member.Assigned.AsConsumer(); known {
				for _, topic := range assigned.Topics {
					partitions = append(partitions, topic.Partitions...)
				}
			}
			sort.Slice(partitions, func(a, b int) bool { return partitions[a] < partitions[b] })
			members = append(members, partitions)
		}
		return map[string]any{"state": strings.ToLower(group.State), "members": members}, group.Err
	})
}

func deleteGroup(asked request) (any, error) {
	return tell(asked, func(ctx context.Context, client *kadm.Client) error {
		answer, err := client.DeleteGroup(ctx, asked.Group)
		if err != nil {
			return err
		}
		return answer.Err
	})
}
