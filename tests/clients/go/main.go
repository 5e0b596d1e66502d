// What a scenario asks, done by franz-go. See agent.py for the form of the conversation, and
// python/confluent_agent.py for what each operation returns.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The longest line that a scenario may say.
const lineBytes = 64 << 20

// A request: every operation takes what it needs from it.
type request struct {
	Op         string
	Broker     string
	Topic      string
	Partition  int32
	Partitions int32
	Config     map[string]string
	Values     map[string]string
	Delete     []string
	Count      int
	Before     int64
	Codec      string
	Records    []record
	Group      string
	Member     string
	Writer     string
}

// A record, or what is to become one. Bytes are Base64 in JSON, and null is nil.
type record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   [][2]any `json:"headers"`
	Timestamp *int64   `json:"timestamp"`
}

var out sync.Mutex

// Says one line.
func say(line map[string]any) {
	out.Lock()
	defer out.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func codeOf(err error) int16 {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return -1
}

func main() {
	operations := map[string]func(request) (any, error){
		"create_topic": createTopic, "delete_topic": deleteTopic, "topics": topics, "add_partitions": addPartitions,
		"describe_config": describeConfig, "alter_config": alterConfig, "delete_records": deleteRecords,
		"offsets": offsets, "produce": produce, "consume": consume, "consume_group": consumeGroup,
		"committed": committed, "groups": groups, "describe_group": describeGroup, "delete_group": deleteGroup,
		"join": join, "hold": hold, "leave": leave,
		"write": write, "written": written, "finish_writing": finishWriting,
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineBytes)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			say(map[string]any{"error": err.Error(), "code": -1})
			continue
		}
		operation, known := operations[asked.Op]
		if !known {
			say(map[string]any{"error": "no operation " + asked.Op, "code": -1})
			continue
		}
		if answer, err := operation(asked); err != nil {
			say(map[string]any{"error": err.Error(), "code": codeOf(err)})
		} else {
			say(map[string]any{"ok": answer})
		}
	}
}
