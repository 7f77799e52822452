// Microseconds of CPU that a link of @aws-sdk/cloudfront-signer takes: FOLDER PRIVATE_KEY URL COUNT
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, path, url, count] = process.argv.slice(2);
const { getSignedUrl } = createRequire(`${folder}/`)("@aws-sdk/cloudfront-signer");
const privateKey = readFileSync(path, "utf8");
const sign = () => getSignedUrl({ url, keyPairId: "K1", privateKey, dateLessThan: "2030-01-01" });
for (let i = 0; i < 20; i++) sign();
const begun = process.cpuUsage();
for (let i = 0; i < count; i++) sign();
const { user, system } = process.cpuUsage(begun);
console.log((user + system) / count);
