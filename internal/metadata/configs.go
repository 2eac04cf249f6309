package metadata

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/schema"
)

// Limits of what configs may take in every broker's memory, in bytes: what a string of
// the protocol can hold, also after many appends, so that it can be described.
const (
	maxConfigValue  = 1<<15 - 1
	maxResourceName = 1<<15 - 1
)

// alteration is what a request wants of one resource, in either API.
type alteration struct {
	res Resource
	// ops are in the request's order.
	ops []configOp
	// replace deletes every key that ops do not set (AlterConfigs).
	replace bool
}

type configOp struct {
	key   string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

// alterConfigs answers AlterConfigs (versions 0 to 2), which replaces all configs
// of a resource.
func (c *Controller) alterConfigs(ctx Context, req *kmsg.AlterConfigsRequest) outcome {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	var all []alteration
	for i := range req.Resources {
		r := &req.Resources[i]
		a := alteration{res: Resource{int8(r.ResourceType), r.ResourceName}, replace: true}
		for _, k := range r.Configs {
			a.ops = append(a.ops, configOp{k.Name, kmsg.IncrementalAlterConfigOpSet, k.Value})
		}
		all = append(all, a)
	}
	recs := c.alter(ctx, all, req.ValidateOnly, func(res Resource, err error) {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(res.Type), res.Name
		out.ErrorCode, out.ErrorMessage = code(err)
		resp.Resources = append(resp.Resources, out)
	})
	return outcome{body: resp, recs: recs}
}

// incrementalAlterConfigs answers IncrementalAlterConfigs (versions 0 and 1; KIP-339).
func (c *Controller) incrementalAlterConfigs(ctx Context, req *kmsg.IncrementalAlterConfigsRequest) outcome {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	var all []alteration
	for i := range req.Resources {
		r := &req.Resources[i]
		a := alteration{res: Resource{int8(r.ResourceType), r.ResourceName}}
		for _, k := range r.Configs {
			a.ops = append(a.ops, configOp{k.Name, k.Op, k.Value})
		}
		all = append(all, a)
	}
	recs := c.alter(ctx, all, req.ValidateOnly, func(res Resource, err error) {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = kmsg.ConfigResourceType(res.Type), res.Name
		out.ErrorCode, out.ErrorMessage = code(err)
		resp.Resources = append(resp.Resources, out)
	})
	return outcome{body: resp, recs: recs}
}

// alter decides each resource by itself and answers in the request's order.
func (c *Controller) alter(ctx Context, all []alteration, validateOnly bool, answer func(Resource, error)) []schema.Record {
	count := map[Resource]int{}
	total := 0
	for _, a := range all {
		count[a.res]++
		total += len(a.ops)
	}
	var recs []schema.Record
	for _, a := range all {
		var err error
		var made []schema.Record
		switch {
		case count[a.res] > 1:
			err = refuse(kerr.InvalidRequest, "Each resource must appear at most once.")
		case total > maxRecords:
			err = refuse(kerr.PolicyViolation, "A request may change at most %d configs.", maxRecords)
		default:
			made, err = c.alterResource(ctx, a)
		}
		answer(a.res, err)
		recs = append(recs, made...)
	}
	if validateOnly {
		return nil
	}
	return recs
}

// alterResource decides one resource: all of its changes or none.
func (c *Controller) alterResource(ctx Context, a alteration) ([]schema.Record, error) {
	if err := checkOps(a.ops); err != nil {
		return nil, err
	}
	if err := c.checkResource(ctx, a.res); err != nil {
		return nil, err
	}
	old := c.View().Config(a.res.Type, a.res.Name)
	now := maps.Clone(old)
	if now == nil || a.replace {
		now = map[string]string{}
	}
	for _, op := range a.ops {
		if err := applyOp(now, a.res, op); err != nil {
			return nil, err
		}
	}
	if err := checkSizes(now); err != nil {
		return nil, err
	}
	if err := c.validate(a.res, old, now); err != nil {
		return nil, err
	}
	if a.res.Type == ResourceTopic && c.View().Topic(a.res.Name) == nil {
		return nil, refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", a.res.Name)
	}
	recs := configRecords(a, old, now)
	return append(recs, c.minISRRecords(a.res, old, now)...), nil
}

// checkOps checks what does not depend on the resource.
func checkOps(ops []configOp) error {
	seen := make(map[string]bool, len(ops))
	var null []string
	for _, op := range ops {
		if seen[op.key] {
			return refuse(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[op.key] = true
		if op.op != kmsg.IncrementalAlterConfigOpDelete && op.value == nil {
			null = append(null, op.key)
		}
		if op.op < kmsg.IncrementalAlterConfigOpSet || op.op > kmsg.IncrementalAlterConfigOpSubtract {
			return refuse(kerr.InvalidRequest, "Unknown operations type %d", int8(op.op))
		}
	}
	if len(null) > 0 {
		return refuse(kerr.InvalidRequest, "Null value not supported for : %s", joined(null))
	}
	return nil
}

// checkResource checks that a resource of such a type and name can have configs.
func (c *Controller) checkResource(ctx Context, res Resource) error {
	if len(res.Name) > maxResourceName {
		return refuse(kerr.InvalidRequest, "The resource name is longer than %d bytes.", maxResourceName)
	}
	switch res.Type {
	case ResourceTopic:
		if res.Name == "" {
			return refuse(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := CheckTopicName(res.Name); err != nil {
			return refuse(kerr.InvalidTopicException, "%s", err)
		}
	case ResourceBroker:
		if res.Name == "" {
			return nil
		}
		id, err := strconv.ParseInt(res.Name, 10, 32)
		switch {
		case err != nil:
			return refuse(kerr.InvalidRequest, "Node id must be an integer, but it is: %.64s", res.Name)
		case ctx.NodeID > 0 && int32(id) != ctx.NodeID:
			return refuse(kerr.InvalidRequest, "Unexpected broker id, expected %d or empty string, but received %s", ctx.NodeID, res.Name)
		case c.View().Broker(int32(id)) == nil && c.View().ControllerNode(int32(id)) == nil:
			return refuse(kerr.BrokerIDNotRegistered, "No broker with id %d found.", id)
		}
	case ResourceBrokerLogger:
		return refuse(kerr.InvalidRequest, "The levels of broker loggers cannot be asked for or changed yet; leat.log.level sets the one there is, at the start.")
	case ResourceClientMetrics:
		if res.Name == "" {
			return refuse(kerr.InvalidRequest, "Subscription name can't be empty")
		}
	case ResourceGroup:
		if res.Name == "" {
			return refuse(kerr.InvalidRequest, "Default group resources are not allowed.")
		}
	default:
		return refuse(kerr.InvalidRequest, "Unknown resource type %d", res.Type)
	}
	return nil
}

// scopes are the config tables of the resource types.
var scopes = map[int8]config.Scope{
	ResourceTopic: config.ScopeTopic, ResourceBroker: config.ScopeBroker,
	ResourceClientMetrics: config.ScopeClientMetrics, ResourceGroup: config.ScopeGroup,
}

// applyOp carries out one operation on a resource's configs.
func applyOp(now map[string]string, res Resource, op configOp) error {
	switch op.op {
	case kmsg.IncrementalAlterConfigOpSet:
		now[op.key] = *op.value
		return nil
	case kmsg.IncrementalAlterConfigOpDelete:
		delete(now, op.key)
		return nil
	}
	verb := map[kmsg.IncrementalAlterConfigOp]string{
		kmsg.IncrementalAlterConfigOpAppend: "append", kmsg.IncrementalAlterConfigOpSubtract: "subtract"}[op.op]
	def := config.Lookup(scopes[res.Type], op.key)
	if def == nil || def.Type != config.List {
		return refuse(kerr.InvalidConfig, "Config value %s is not allowed for config key: %s", verb, op.key)
	}
	value, given := now[op.key]
	if !given && !def.Null {
		value = def.Default
	}
	if len(*op.value) > maxConfigValue {
		return refuse(kerr.InvalidConfig, "The value of %.64s is longer than %d bytes.", op.key, maxConfigValue)
	}
	now[op.key] = strings.Join(changeList(elements(value), elements(*op.value), op.op == kmsg.IncrementalAlterConfigOpAppend), ",")
	return nil
}

// elements are those of a list config's value.
func elements(value string) []string {
	return slices.DeleteFunc(strings.Split(value, ","), func(e string) bool { return e == "" })
}

// changeList adds to a list what it lacks of change, or removes what it has of it.
func changeList(list, change []string, add bool) []string {
	if !add {
		gone := make(map[string]bool, len(change))
		for _, e := range change {
			gone[e] = true
		}
		return slices.DeleteFunc(list, func(e string) bool { return gone[e] })
	}
	have := make(map[string]bool, len(list))
	for _, e := range list {
		have[e] = true
	}
	for _, e := range change {
		if !have[e] {
			list, have[e] = append(list, e), true
		}
	}
	return list
}

// validate checks all the configs that a resource is to have.
func (c *Controller) validate(res Resource, old, now map[string]string) error {
	switch res.Type {
	case ResourceTopic:
		return c.settings().ValidateTopic(now)
	case ResourceGroup:
		return c.settings().ValidateGroup(now)
	case ResourceClientMetrics:
		return validateClientMetrics(now)
	}
	name := string(config.MinInsyncReplicas)
	if res.Name != "" && c.elrEnabled() && now[name] != old[name] {
		// One number must hold for all that can lead (KIP-966).
		return refuse(kerr.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
	}
	err := c.settings().ValidateBroker(now, res.Name != "")
	if errors.Is(err, config.ErrInvalid) {
		// Kafka answers INVALID_REQUEST for brokers (KAFKA-13609).
		return refuse(kerr.InvalidRequest, "%s", err)
	}
	return err
}

func validateClientMetrics(now map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		def := config.Lookup(config.ScopeClientMetrics, key)
		if def == nil {
			return refuse(kerr.InvalidRequest, "Unknown client metrics configuration: %s", key)
		}
		if _, err := def.Parse(now[key]); err != nil {
			return refuse(kerr.InvalidConfig, "%s", err)
		}
	}
	return nil
}

// configRecords are the records that lead from the old configs to the new. A
// broker's are written even when they do not change, since setting a value makes
// a broker load a file anew (KAFKA-14136).
func configRecords(a alteration, old, now map[string]string) []schema.Record {
	record := func(key string, value *string) schema.Record {
		return &schema.Config{ResourceType: a.res.Type, ResourceName: a.res.Name, Key: key, Value: value}
	}
	touched := make(map[string]bool, len(a.ops))
	for _, op := range a.ops {
		touched[op.key] = true
	}
	for key := range old {
		touched[key] = touched[key] || a.replace
	}
	var recs []schema.Record
	for _, key := range slices.Sorted(maps.Keys(touched)) {
		before, had := old[key]
		after, has := now[key]
		switch {
		case !touched[key]:
		case has && (!had || before != after || a.res.Type == ResourceBroker):
			recs = append(recs, record(key, &after))
		case !has && had:
			recs = append(recs, record(key, nil))
		}
	}
	return recs
}

// minISRRecords clears the ELR of partitions whose ISR a smaller
// min.insync.replicas makes large enough: their high watermark may now move
// without the eligible leader replicas.
func (c *Controller) minISRRecords(res Resource, old, now map[string]string) []schema.Record {
	name := string(config.MinInsyncReplicas)
	if old[name] == now[name] {
		return nil
	}
	var recs []schema.Record
	drop := func(t *Topic, minISR int) {
		for _, p := range t.Partitions {
			if len(p.ELR()) > 0 && len(p.ISR) >= min(minISR, len(p.Replicas)) {
				r := schema.NewPartitionChange()
				r.TopicID, r.Index, r.ELR = t.ID, p.Index, []int32{}
				recs = append(recs, r)
			}
		}
	}
	all, err := strconv.Atoi(now[name])
	set := err == nil
	switch {
	case res.Type == ResourceTopic && set:
		drop(c.View().Topic(res.Name), all)
	case res.Type == ResourceTopic:
		fallback, err := strconv.Atoi(c.View().Config(ResourceBroker, "")[name])
		if err != nil {
			fallback = 1
		}
		drop(c.View().Topic(res.Name), fallback)
	case res.Type == ResourceBroker && res.Name == "":
		if !set {
			all = 1
		}
		for t := range c.View().Topics() {
			if _, own := c.View().Config(ResourceTopic, t.Name)[name]; !own {
				drop(t, all)
			}
		}
	}
	return recs
}

// checkSizes holds configs to what metadata may carry.
func checkSizes(configs map[string]string) error {
	for key, value := range configs {
		if max(len(key), len(value)) > maxConfigValue {
			return refuse(kerr.InvalidConfig, "The value of %.64s is longer than %d bytes.", key, maxConfigValue)
		}
	}
	return nil
}

func joined(list []string) string { return strings.Join(list, ",") }
