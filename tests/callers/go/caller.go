// The story by grpc-go, with the code that protoc-gen-go and protoc-gen-go-grpc make of the proto file.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	akav1 "aka/v1"
)

func connect(address string) akav1.AliasServiceClient {
	connection, err := grpc.Dial(address, grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	return akav1.NewAliasServiceClient(connection)
}

func with(key string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+key)
}

func answer(response proto.Message, err error) json.RawMessage {
	if err != nil {
		log.Fatal(err)
	}
	told, err := protojson.Marshal(response)
	if err != nil {
		log.Fatal(err)
	}
	return told
}

func importLinks(
	ctx context.Context, aka akav1.AliasServiceClient, links ...*akav1.Link,
) (*akav1.ImportLinksResponse, error) {
	stream, err := aka.ImportLinks(ctx)
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if err := stream.Send(&akav1.ImportLinksRequest{Links: []*akav1.Link{link}}); err != nil {
			break // the answer says why
		}
	}
	return stream.CloseAndRecv()
}

func exportLinks(ctx context.Context, aka akav1.AliasServiceClient) []json.RawMessage {
	stream, err := aka.ExportLinks(ctx, &akav1.ExportLinksRequest{})
	if err != nil {
		log.Fatal(err)
	}
	answers := []json.RawMessage{}
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return answers
		}
		answers = append(answers, answer(response, err))
	}
}

type Refusal struct {
	Code     uint32            `json:"code"`
	Reason   string            `json:"reason,omitempty"`
	Domain   string            `json:"domain,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func refused(_ proto.Message, err error) Refusal {
	if err == nil {
		log.Fatal("the call was not refused")
	}
	told := Refusal{Code: uint32(status.Code(err))}
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			told.Reason, told.Domain, told.Metadata = info.Reason, info.Domain, info.Metadata
		}
	}
	return told
}

func user(id string) *akav1.AliasRequest_UserId {
	return &akav1.AliasRequest_UserId{UserId: id}
}

func id(id string) *akav1.Identifier {
	return &akav1.Identifier{Value: &akav1.Identifier_Id{Id: id}}
}

func structOf(values map[string]any) *structpb.Struct {
	made, err := structpb.NewStruct(values)
	if err != nil {
		log.Fatal(err)
	}
	return made
}

func main() {
	aka, ctx := connect(os.Getenv("AKA")), with(os.Getenv("AKA_KEY"))
	kiosk := &akav1.UserAlias{AliasLabel: "kiosk", AliasName: "7"}
	answers := map[string]any{
		"CreateAliases": answer(aka.CreateAliases(ctx, &akav1.CreateAliasesRequest{
			UserAliases: []*akav1.NewUserAlias{{AliasLabel: "kiosk", AliasName: "7"}},
		})),
		"Identify": answer(aka.Identify(ctx, &akav1.IdentifyRequest{
			AliasesToIdentify: []*akav1.AliasToIdentify{
				{ExternalId: "user_123", Subject: &akav1.AliasToIdentify_UserAlias{UserAlias: kiosk}},
			},
			MergeBehavior: akav1.MergeBehavior_MERGE_BEHAVIOR_MERGE,
		})),
		"Alias": answer(aka.Alias(ctx, &akav1.AliasRequest{User: user("user_123"), AliasId: "legacy_999"})),
		"BatchAlias": answer(aka.BatchAlias(ctx, &akav1.BatchAliasRequest{
			Requests: []*akav1.AliasRequest{
				{User: user("user_123"), AliasId: "crm:1"},
				{
					User:          user("user_456"),
					AliasId:       "crm:2",
					MergePolicy:   akav1.MergePolicy_MERGE_POLICY_ALWAYS,
					CreateMissing: true,
				},
			},
		})),
		"Resolve": answer(aka.Resolve(ctx, &akav1.ResolveRequest{
			Identifiers: []*akav1.Identifier{
				id("crm:1"),
				{Value: &akav1.Identifier_UserAlias{UserAlias: kiosk}},
				id("nobody"),
			},
		})),
		"GetProfile": answer(aka.GetProfile(ctx, &akav1.GetProfileRequest{Identifier: id("legacy_999")})),
		"DeleteAlias": answer(aka.DeleteAlias(ctx, &akav1.DeleteAliasRequest{
			Alias: &akav1.DeleteAliasRequest_Id{Id: "crm:1"},
		})),
		"ImportLinks": answer(importLinks(ctx, aka,
			&akav1.Link{UserId: "user_789"},
			&akav1.Link{UserId: "user_789", Alias: &akav1.Link_AliasId{AliasId: "erp:1"}},
			&akav1.Link{UserId: "user_123", Alias: &akav1.Link_AliasId{AliasId: "legacy_999"}},
		)),
		"ExportLinks": exportLinks(ctx, aka),
		"Track": answer(aka.Track(ctx, &akav1.TrackRequest{
			Attributes: []*akav1.ProfileAttributes{{
				User:       &akav1.ProfileAttributes_ExternalId{ExternalId: "user_123"},
				Attributes: structOf(map[string]any{"city": "Bern"}),
			}},
			Events: []*akav1.Event{{
				User:       &akav1.Event_ExternalId{ExternalId: "user_123"},
				Name:       "signed_up",
				Properties: structOf(map[string]any{"plan": "free", "seats": 2}),
			}},
		})),
		"ExportProfiles": answer(aka.ExportProfiles(ctx, &akav1.ExportProfilesRequest{
			Profiles: []*akav1.Identifier{id("user_123")},
			Fields:   &fieldmaskpb.FieldMask{Paths: []string{"attributes", "events"}},
		})),
	}
	refusal := refused(aka.Alias(ctx, &akav1.AliasRequest{User: user("nobody"), AliasId: "legacy_000"}))

	locked, lockedCtx := connect(os.Getenv("AKA_LOCKED")), with(os.Getenv("AKA_LOCKED_KEY"))
	change := &akav1.AliasRequest{User: user("user_123"), AliasId: "legacy_999", CreateMissing: true}
	soon, cancel := context.WithTimeout(lockedCtx, 300*time.Millisecond)
	defer cancel()
	late := refused(locked.Alias(soon, change))
	unavailable := refused(locked.Alias(lockedCtx, change))

	report := map[string]any{"answers": answers, "refusal": refusal, "late": late, "unavailable": unavailable}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		log.Fatal(err)
	}
}
