// The story by Connect-ES over gRPC, with the code that protoc-gen-es makes of the proto file.
import { type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import * as v1 from "./gen/aka/v1/alias_service_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const { AKA, AKA_KEY, AKA_LOCKED, AKA_LOCKED_KEY } = process.env;

function connect(address?: string, key?: string) {
  const withKey: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  return createClient(
    v1.AliasService,
    createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [withKey] }),
  );
}

async function refused(call: Promise<unknown>) {
  try {
    await call;
  } catch (error) {
    const refusal = ConnectError.from(error);
    const [info] = refusal.findDetails(ErrorInfoSchema);
    return { code: refusal.code, reason: info?.reason, domain: info?.domain, metadata: info?.metadata };
  }
  throw new Error("the call was not refused");
}

async function* imported() {
  yield {
    links: [{ userId: "user_789" }, { userId: "user_789", alias: { case: "aliasId" as const, value: "erp:1" } }],
  };
  yield { links: [{ userId: "user_123", alias: { case: "aliasId" as const, value: "legacy_999" } }] };
}

async function all(messages: AsyncIterable<v1.ExportLinksResponse>) {
  const read = [];
  for await (const message of messages) {
    read.push(toJson(v1.ExportLinksResponseSchema, message));
  }
  return read;
}

const kiosk = { aliasLabel: "kiosk", aliasName: "7" };
const aka = connect(AKA, AKA_KEY);
const answers = {
  CreateAliases: toJson(v1.CreateAliasesResponseSchema, await aka.createAliases({ userAliases: [kiosk] })),
  Identify: toJson(
    v1.IdentifyResponseSchema,
    await aka.identify({
      aliasesToIdentify: [{ externalId: "user_123", subject: { case: "userAlias", value: kiosk } }],
      mergeBehavior: v1.MergeBehavior.MERGE,
    }),
  ),
  Alias: toJson(
    v1.AliasResponseSchema,
    await aka.alias({ user: { case: "userId", value: "user_123" }, aliasId: "legacy_999" }),
  ),
  BatchAlias: toJson(
    v1.BatchAliasResponseSchema,
    await aka.batchAlias({
      requests: [
        { user: { case: "userId", value: "user_123" }, aliasId: "crm:1" },
        {
          user: { case: "userId", value: "user_456" },
          aliasId: "crm:2",
          mergePolicy: v1.MergePolicy.ALWAYS,
          createMissing: true,
        },
      ],
    }),
  ),
  Resolve: toJson(
    v1.ResolveResponseSchema,
    await aka.resolve({
      identifiers: [
        { value: { case: "id", value: "crm:1" } },
        { value: { case: "userAlias", value: kiosk } },
        { value: { case: "id", value: "nobody" } },
      ],
    }),
  ),
  GetProfile: toJson(
    v1.GetProfileResponseSchema,
    await aka.getProfile({ identifier: { value: { case: "id", value: "legacy_999" } } }),
  ),
  DeleteAlias: toJson(
    v1.DeleteAliasResponseSchema,
    await aka.deleteAlias({ alias: { case: "id", value: "crm:1" } }),
  ),
  ImportLinks: toJson(v1.ImportLinksResponseSchema, await aka.importLinks(imported())),
  ExportLinks: await all(aka.exportLinks({})),
  Track: toJson(
    v1.TrackResponseSchema,
    await aka.track({
      attributes: [{ user: { case: "externalId", value: "user_123" }, attributes: { city: "Bern" } }],
      events: [
        {
          user: { case: "externalId", value: "user_123" },
          name: "signed_up",
          properties: { plan: "free", seats: 2 },
        },
      ],
    }),
  ),
  ExportProfiles: toJson(
    v1.ExportProfilesResponseSchema,
    await aka.exportProfiles({
      profiles: [{ value: { case: "id", value: "user_123" } }],
      fields: { paths: ["attributes", "events"] },
    }),
  ),
};
const refusal = await refused(aka.alias({ user: { case: "userId", value: "nobody" }, aliasId: "legacy_000" }));

const locked = connect(AKA_LOCKED, AKA_LOCKED_KEY);
const change: MessageInitShape<typeof v1.AliasRequestSchema> = {
  user: { case: "userId", value: "user_123" },
  aliasId: "legacy_999",
  createMissing: true,
};
const late = await refused(locked.alias(change, { timeoutMs: 300 }));
const unavailable = await refused(locked.alias(change));

console.log(JSON.stringify({ answers, refusal, late, unavailable }));
