#include "core/intrusive_list.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace txn {
namespace {

struct TestTag;
struct OtherTag;

struct Element : ListNode<TestTag>, ListNode<OtherTag> {
  explicit Element(char text) : name(text) {}
  char name;
};
using List = IntrusiveList<Element, TestTag>;

std::string names(List& list) {
  std::string out;
  for (Element* element = list.front(); element != nullptr; element = list.next(*element)) out += element->name;
  return out;
}

TEST(IntrusiveList, KeepsOrderAndUnlinksFromTheMiddle) {
  Element a('a'), b('b'), c('c');
  List list;
  EXPECT_TRUE(list.empty());
  list.push_back(a);
  list.push_back(b);
  list.push_back(c);
  EXPECT_EQ(names(list), "abc");
  EXPECT_EQ(list.back(), &c);
  static_cast<ListNode<TestTag>&>(b).unlink();
  EXPECT_EQ(names(list), "ac");
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_EQ(list.pop_front(), &c);
  EXPECT_EQ(list.pop_front(), nullptr);
  EXPECT_EQ(list.back(), nullptr);
}

TEST(IntrusiveList, AnElementLeavesItsListWhenItIsDestroyed) {
  List list;
  Element a('a');
  list.push_back(a);
  {
    Element b('b');
    list.push_back(b);
    EXPECT_EQ(names(list), "ab");
  }
  EXPECT_EQ(names(list), "a");
}

TEST(IntrusiveList, AListMayGoBeforeItsElements) {
  Element a('a');
  {
    List list;
    list.push_back(a);
  }
  EXPECT_FALSE(static_cast<ListNode<TestTag>&>(a).is_linked());
}

TEST(IntrusiveList, TagsKeepListsApart) {
  Element a('a');
  List one;
  IntrusiveList<Element, OtherTag> two;
  one.push_back(a);
  two.push_back(a);
  static_cast<ListNode<TestTag>&>(a).unlink();
  EXPECT_TRUE(one.empty());
  EXPECT_EQ(two.front(), &a);
}

TEST(IntrusiveList, SpliceMovesEverything) {
  Element a('a'), b('b'), c('c');
  List one, two;
  one.push_back(a);
  two.push_back(b);
  two.push_back(c);
  one.splice_back(two);
  EXPECT_EQ(names(one), "abc");
  EXPECT_TRUE(two.empty());
  one.splice_back(two);
  EXPECT_EQ(names(one), "abc");
}

TEST(IntrusiveListDeathTest, AnElementIsOnOneListOfAKindAtATime) {
  Element a('a');
  List one, two;
  one.push_back(a);
  EXPECT_DEATH(two.push_back(a), "one list of a kind");
}

}  // namespace
}  // namespace txn
