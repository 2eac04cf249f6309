package configcmd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type value struct {
	Name     string  `json:"name"`
	Value    *string `json:"value"` // null: none, or not shown
	From     string  `json:"from"`
	ReadOnly bool    `json:"read_only,omitempty"`
	Secret   bool    `json:"secret,omitempty"`
}

func getCommand(e *conn.Env) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "get (topic NAME | broker ID | broker default | group NAME) [SETTING...]",
		Short: "Show the settings of a topic, a broker, all brokers or a group",
		Example: `  leat config get topic orders
  leat config get topic orders retention.ms --format json
  leat config get broker 1 --all`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeResource(e, "", true),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseResource(args[0], args[1])
			if err != nil {
				return err
			}
			return e.WithClient(cmd, func(ctx context.Context, cl *kgo.Client, adm *kadm.Client) error {
				return get(ctx, e, cl, adm, r, args[2:], all)
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "settings that have their default, too")
	return cmd
}

func get(ctx context.Context, e *conn.Env, cl *kgo.Client, adm *kadm.Client, r resource, names []string, all bool) error {
	configs, err := describe(ctx, cl, adm, r, names)
	if err != nil {
		return err
	}
	values := []value{}
	t := out.Table{Header: []string{"setting", "value", "from"}, Empty: "every setting has its default; --all shows them"}
	for _, c := range configs {
		isDefault := c.Source == kmsg.ConfigSourceDefaultConfig
		if isDefault && !all && len(names) == 0 {
			continue
		}
		v := value{Name: c.Name, Value: c.Value, From: conn.SourceName(c.Source), ReadOnly: c.ReadOnly, Secret: c.IsSensitive}
		values = append(values, v)
		text := "-"
		switch {
		case c.IsSensitive:
			text = "(not shown)"
		case c.Value != nil:
			text = *c.Value
		}
		t.Rows = append(t.Rows, []string{v.Name, text, v.From})
	}
	if err := e.Emit(values, t); err != nil {
		return err
	}
	for _, n := range names {
		if !slices.ContainsFunc(values, func(v value) bool { return v.Name == n }) {
			return fmt.Errorf("there is no setting %s; 'leat config list' shows what there is", n)
		}
	}
	return nil
}

// describe asks the broker itself for a broker's settings, and any one for the rest.
func describe(ctx context.Context, cl *kgo.Client, adm *kadm.Client, r resource, names []string) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	q := kmsg.NewDescribeConfigsRequestResource()
	q.ResourceType, q.ResourceName = r.kind, r.name
	if len(names) > 0 {
		q.ConfigNames = names
	}
	req.Resources = append(req.Resources, q)
	req.IncludeSynonyms = true
	resp, err := requestAt(ctx, cl, adm, r, req)
	if err != nil {
		return nil, err
	}
	resources := resp.(*kmsg.DescribeConfigsResponse).Resources
	if len(resources) != 1 {
		return nil, fmt.Errorf("%s: the broker did not answer for it", r)
	}
	res := resources[0]
	if err := conn.KafkaError(res.ErrorCode, res.ErrorMessage); err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	slices.SortFunc(res.Configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return strings.Compare(a.Name, b.Name) })
	return res.Configs, nil
}

// String names the resource for messages.
func (r resource) String() string {
	switch {
	case r.kind == kmsg.ConfigResourceTypeTopic:
		return "topic " + r.name
	case r.kind == kindGroup:
		return "group " + r.name
	case r.name == "":
		return "all brokers"
	}
	return "broker " + r.name
}

// requestAt sends a request about a resource to the broker that knows it.
func requestAt(ctx context.Context, cl *kgo.Client, adm *kadm.Client, r resource, req kmsg.Request) (kmsg.Response, error) {
	if r.kind == kmsg.ConfigResourceTypeBroker && r.name != "" {
		id, err := strconv.ParseInt(r.name, 10, 32)
		if err != nil {
			return nil, err
		}
		brokers, err := adm.ListBrokers(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(brokers.NodeIDs(), int32(id)) {
			return nil, fmt.Errorf("there is no broker %d; 'leat cluster info' shows what there is", id)
		}
		return cl.Broker(int(id)).Request(ctx, req)
	}
	return cl.Request(ctx, req)
}
