import pytest

from exporter.kube.api import Resource

PODS = Resource("", "v1", "pods")
LEASES = Resource("coordination.k8s.io", "v1", "leases")


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (PODS, "/api/v1/pods"),
        (PODS.within("m"), "/api/v1/namespaces/m/pods"),
        (PODS.within("m").named("p", "log"), "/api/v1/namespaces/m/pods/p/log"),
        (LEASES.within("m").named("x"), "/apis/coordination.k8s.io/v1/namespaces/m/leases/x"),
        (
            Resource("authorization.k8s.io", "v1", "subjectaccessreviews"),
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        ),
        (PODS.within("m").named("../x?y"), "/api/v1/namespaces/m/pods/..%2Fx%3Fy"),
    ],
)
def test_path_is_that_of_the_api_and_a_name_cannot_leave_it(resource: Resource, path: str) -> None:
    """A resource knows its path, core group or not, and quotes what is put into it."""
    assert resource.path == path


def test_grant_has_rule_and_place() -> None:
    """The rule can be copied into a Role; what has no namespace needs a ClusterRole."""
    assert PODS.within("m").named("p", "log").grant("get") == (
        'add the rule {apiGroups: [""], resources: ["pods/log"], verbs: ["get"]} '
        "to a Role in namespace 'm' that is bound to the exporter's service account"
    )
    assert 'verbs: ["list", "watch"]} to a ClusterRole' in PODS.grant("list", "watch")


def test_text_names_object_and_namespace() -> None:
    """In messages a resource reads like what a person would say."""
    assert str(LEASES.within("m").named("x")) == "leases 'x' in namespace 'm'"
    assert str(PODS) == "pods cluster-wide"
